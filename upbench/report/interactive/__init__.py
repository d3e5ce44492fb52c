"""Results as one HTML page to look at: tables that sort and filter, pictures with values, without a network."""
