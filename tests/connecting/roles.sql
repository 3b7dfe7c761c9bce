-- Who logs in. All but `odd` and `weakrole` have the password of the tests' services.
CREATE ROLE holder;
CREATE ROLE reader LOGIN PASSWORD 'Canary-of-Ada-7';
CREATE ROLE single LOGIN PASSWORD 'Canary-of-Ada-7' CONNECTION LIMIT 1;
CREATE ROLE root LOGIN SUPERUSER PASSWORD 'Canary-of-Ada-7';
CREATE ROLE maker LOGIN CREATEROLE CREATEDB PASSWORD 'Canary-of-Ada-7';
CREATE ROLE bypasser LOGIN BYPASSRLS PASSWORD 'Canary-of-Ada-7';
CREATE ROLE copier LOGIN REPLICATION PASSWORD 'Canary-of-Ada-7';
CREATE ROLE owner LOGIN PASSWORD 'Canary-of-Ada-7';
CREATE ROLE member LOGIN PASSWORD 'Canary-of-Ada-7' IN ROLE holder, owner;
CREATE ROLE stranger LOGIN NOINHERIT PASSWORD 'Canary-of-Ada-7' IN ROLE holder, owner;
CREATE ROLE heir LOGIN PASSWORD 'Canary-of-Ada-7' IN ROLE root;
CREATE ROLE switcher LOGIN PASSWORD 'Canary-of-Ada-7' IN ROLE reader;
ALTER ROLE switcher SET role = 'reader';
CREATE ROLE odd LOGIN;
CREATE ROLE weakrole LOGIN PASSWORD 'weakrole';
CREATE DATABASE gis OWNER holder;
CREATE DATABASE empty;
