from arpes_ml_plugins.testing import ConformanceSuite


class TestMedian(ConformanceSuite):
    method = "denoise_median"
    reports_progress = False
