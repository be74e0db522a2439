"""Continue analytically from imaginary time or Matsubara frequencies to real frequencies."""
