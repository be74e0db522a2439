"""Analytic continuation: from imaginary time or Matsubara frequencies to real frequencies."""
