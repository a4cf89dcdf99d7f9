-- The image makes the catalog's database itself; this makes Prefect's.
CREATE DATABASE prefect;
