from arpes_ml_plugins.testing import ConformanceSuite


class TestMedian(ConformanceSuite):
    method = "denoise_median"
    accepts_nan = False
    reports_progress = False
