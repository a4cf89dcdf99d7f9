-- The catalog's database is the one that the image makes; this is Prefect's.
CREATE DATABASE prefect;
