"""One file a family of methods: xarray in, xarray out, no mathematics."""
