"""HTTP as every room uses it: rows of the route table, access, bodies, problems, the OpenAPI document."""
