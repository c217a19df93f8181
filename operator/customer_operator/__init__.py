"""The customer-instance operator: turns a CustomerInstance resource into a running, isolated IoT stack."""
