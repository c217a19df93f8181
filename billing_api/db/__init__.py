"""PostgreSQL: the pool, the schema's migrations, and one module of plain SQL per subject."""
