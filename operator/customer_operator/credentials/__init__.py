"""What is secret: passwords and certificates, generated once; and the Secrets that instances refer to."""
