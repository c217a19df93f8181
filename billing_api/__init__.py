"""The billing API: signup, login, licenses. Thin: its only word to Kubernetes is one CustomerInstance per customer."""
