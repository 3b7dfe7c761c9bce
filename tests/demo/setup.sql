-- The database of the use case "Verifying Secret Precedence with PostgreSQL"
-- (QFieldCloud documentation, reference page "Secrets"), for psql:
--
--     psql -v ON_ERROR_STOP=1 -f setup.sql postgres
--
-- The statements are the page's own, in its order. The two places marked
-- CORRECTION differ from the page, because the page's text does not run as it
-- is. To be run by a superuser: the extension postgis asks for one.

-- ---------------------------------------------------------------------------
-- 1. Database and Extension Instantiation
-- ---------------------------------------------------------------------------

-- CORRECTION: the page makes `qfield` the owner of the database but never
-- creates that role. It needs no login and no password here.
CREATE ROLE qfield;

-- Create a new database with a specified name, owner, and encoding.
-- CORRECTION: the page has the name without quotes; one with hyphens needs them.
CREATE DATABASE "db-og-secrets" OWNER qfield ENCODING 'UTF8';

-- Connect to the newly created database.
\c db-og-secrets

-- Install the required extensions if they do not already exist.
CREATE EXTENSION IF NOT EXISTS postgis;
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";

-- ---------------------------------------------------------------------------
-- 2. Establishment of Roles
-- ---------------------------------------------------------------------------

-- Create three roles, each with login privileges and an assigned password.
CREATE ROLE ninja_org LOGIN PASSWORD 'your_strong_password_for_org';
CREATE ROLE ninja_project LOGIN PASSWORD 'your_strong_password_for_project';
CREATE ROLE ninja_user LOGIN PASSWORD 'strong_password_for_user_001';

-- ---------------------------------------------------------------------------
-- 3. Schema and Table Definition
-- ---------------------------------------------------------------------------

-- Create a schema named 'ninja' if it does not already exist.
CREATE SCHEMA IF NOT EXISTS ninja;

-- Create a table within the 'ninja' schema with the specified columns.
CREATE TABLE IF NOT EXISTS ninja.ninja_point (
  id UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
  pg_user TEXT,
  some_value TEXT NOT NULL,
  geom GEOMETRY(POINT, 4326)
);

-- ---------------------------------------------------------------------------
-- 4. Implementation of an Automated User-Attribution Trigger
-- ---------------------------------------------------------------------------

-- Define a trigger function to update the pg_user field.
BEGIN;
SET LOCAL SEARCH_PATH TO ninja, public;

CREATE OR REPLACE FUNCTION update_pg_user() RETURNS TRIGGER AS $$
BEGIN
  NEW.pg_user := current_user;
  RETURN NEW;
END;
$$ LANGUAGE plpgsql SET search_path FROM CURRENT;

COMMIT;

-- Assign the trigger to the ninja_point table for INSERT or UPDATE events.
BEGIN;
SET LOCAL SEARCH_PATH TO ninja, public;

DROP TRIGGER IF EXISTS trg_ninja_point_update_pg_user ON ninja.ninja_point;

CREATE TRIGGER trg_ninja_point_update_pg_user
  BEFORE INSERT OR UPDATE ON ninja_point
  FOR EACH ROW EXECUTE FUNCTION update_pg_user();

COMMIT;

-- ---------------------------------------------------------------------------
-- 5. Permission Granting
-- ---------------------------------------------------------------------------

-- Grant usage and data manipulation privileges on the schema and its tables.
GRANT USAGE ON SCHEMA ninja TO ninja_org, ninja_project, ninja_user;
GRANT SELECT, REFERENCES, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ninja
  TO ninja_org, ninja_project, ninja_user;
