"""The product's main job on one machine: a signup over HTTP becomes a customer's Ready stack, before your eyes."""
