"""Every table of Rekindle: one file a table. `schemas.catalogue` lists them all."""
