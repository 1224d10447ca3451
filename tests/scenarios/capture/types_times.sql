-- Dates and times at both ends of their ranges, with whole seconds; zero and partial dates where sql_mode allows them.
-- show: cells numbers

CREATE TABLE t (a DATE, b TIME, c DATETIME, d TIMESTAMP NULL);
-- => DDL CREATE TABLE t (a DATE, b TIME, c DATETIME, d TIMESTAMP NULL)
INSERT INTO t VALUES ('1000-01-01', '-838:59:59', '1000-01-01 00:00:00', '1970-01-01 00:00:01');
-- => INSERT t (a#10=DateTime dt 1000-01-01, b#11=DateTime dt -838:-59:-59.000000, c#12=DateTime dt 1000-01-01 00:00:00.000000, d#7=Timestamp ts 1.000000)
INSERT INTO t VALUES ('9999-12-31', '838:59:59', '9999-12-31 23:59:59', '2038-01-19 03:14:07');
-- => INSERT t (a#10=DateTime dt 9999-12-31, b#11=DateTime dt 838:59:59.000000, c#12=DateTime dt 9999-12-31 23:59:59.000000, d#7=Timestamp ts 2147483647.000000)
INSERT INTO t VALUES ('2024-02-29', '-00:00:01', '2024-02-29 12:00:00', '2024-03-31 01:30:00'), (NULL, '00:00:00', NULL, NULL);
-- => INSERT t (a#10=DateTime dt 2024-02-29, b#11=DateTime dt 00:00:-01.000000, c#12=DateTime dt 2024-02-29 12:00:00.000000, d#7=Timestamp ts 1711848600.000000)
-- => INSERT t (a#10=NULL, b#11=DateTime dt 00:00:00.000000, c#12=NULL, d#7=NULL)

-- A session's time zone changes what it reads, not what is stored.
SET time_zone = '+08:00';
INSERT INTO t VALUES ('2024-01-01', '08:00:00', '2024-01-01 08:00:00', '2024-01-01 08:00:00');
-- => INSERT t (a#10=DateTime dt 2024-01-01, b#11=DateTime dt 08:00:00.000000, c#12=DateTime dt 2024-01-01 08:00:00.000000, d#7=Timestamp ts 1704067200.000000)
SET time_zone = '-05:00';
UPDATE t SET b = '09:00:00' WHERE a = '2024-01-01';
-- => UPDATE t (a#10=DateTime dt 2024-01-01, b#11=DateTime dt 08:00:00.000000, c#12=DateTime dt 2024-01-01 08:00:00.000000, d#7=Timestamp ts 1704067200.000000) -> (a#10=DateTime dt 2024-01-01, b#11=DateTime dt 09:00:00.000000, c#12=DateTime dt 2024-01-01 08:00:00.000000, d#7=Timestamp ts 1704067200.000000)

SET sql_mode = '';
SET time_zone = '+00:00';
INSERT INTO t VALUES ('0000-00-00', '00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00');
-- => INSERT t (a#10=DateTime dt 0000-00-00, b#11=DateTime dt 00:00:00.000000, c#12=DateTime dt 0000-00-00 00:00:00.000000, d#7=Timestamp ts 0.000000)
INSERT INTO t VALUES ('2024-00-00', '900:00:00', '2024-05-00 10:11:12', '1960-01-01 00:00:00');
-- => INSERT t (a#10=DateTime dt 2024-00-00, b#11=DateTime dt 838:59:59.000000, c#12=DateTime dt 2024-05-00 10:11:12.000000, d#7=Timestamp ts 0.000000)
SET sql_mode = 'ALLOW_INVALID_DATES';
INSERT INTO t (a, c) VALUES ('2023-02-31', '2023-04-31 23:59:59'), ('0001-01-01', '0000-01-01 00:00:00');
-- => INSERT t (a#10=DateTime dt 2023-02-31, b#11=NULL, c#12=DateTime dt 2023-04-31 23:59:59.000000, d#7=NULL)
-- => INSERT t (a#10=DateTime dt 0001-01-01, b#11=NULL, c#12=DateTime dt 0000-01-01 00:00:00.000000, d#7=NULL)
