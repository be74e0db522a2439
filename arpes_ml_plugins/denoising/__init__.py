"""Denoising algorithms, pure torch on tensors."""
