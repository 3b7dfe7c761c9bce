-- What `owner` owns: three relations that count, and an index and a sequence that don't. A schema
-- that stands in for the catalogues must not be believed.
CREATE EXTENSION postgis;
CREATE SCHEMA work AUTHORIZATION owner;
SET ROLE owner;
CREATE TABLE work.point (id serial PRIMARY KEY, geom geometry(Point, 4326));
CREATE VIEW work.seen AS SELECT * FROM work.point;
CREATE TABLE work.parted (id int) PARTITION BY RANGE (id);
RESET ROLE;
CREATE SCHEMA trap;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
CREATE VIEW trap.pg_roles AS SELECT 'root'::name AS rolname;
GRANT SELECT ON trap.pg_roles TO PUBLIC;
ALTER ROLE reader SET search_path = trap, pg_catalog;
