"""What a frozen encoder is worth: features, retrieval, probes, attention maps."""
