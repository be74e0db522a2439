"""Source separation: data as a mixing matrix times sparse sources."""
