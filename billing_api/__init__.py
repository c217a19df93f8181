"""The billing API: signup, login, licences. Thin: its only word to Kubernetes is one CustomerInstance per customer."""
