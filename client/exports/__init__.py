"""Jobs written for programs of others."""
