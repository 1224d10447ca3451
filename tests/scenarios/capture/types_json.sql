-- JSON as MySQL prints it; partial updates in the log are whole ones in the records.
-- for: mysql97

CREATE TABLE t (id INT PRIMARY KEY, j JSON);
-- => DDL CREATE TABLE t (id INT PRIMARY KEY, j JSON)
INSERT INTO t VALUES (1, '{"b": 1, "a": [true, null, 1.0, 1e100, "é\\n\\u0001\\""], "aa": {}}'), (2, 'null'), (3, NULL), (4, '18446744073709551615'), (5, '[]'), (6, '"🚚"');
-- => INSERT t (id=1, j=JSON '{"a": [true, null, 1.0, 1e100, "é\n\u0001\""], "b": 1, "aa": {}}')
-- => INSERT t (id=2, j=JSON 'null')
-- => INSERT t (id=3, j=NULL)
-- => INSERT t (id=4, j=JSON '18446744073709551615')
-- => INSERT t (id=5, j=JSON '[]')
-- => INSERT t (id=6, j=JSON '"🚚"')
INSERT INTO t VALUES (7, JSON_ARRAY(CAST('2024-02-29' AS DATE), CAST('12:34:56.5' AS TIME(6)), CAST('2024-02-29 01:02:03' AS DATETIME), CAST(1.50 AS DECIMAL(5,2)), x'00ff', b'1', -0.0, 0.1e0));
-- => INSERT t (id=7, j=JSON '["2024-02-29", "12:34:56.500000", "2024-02-29 01:02:03.000000", 1.50, "base64:type15:AP8=", "base64:type15:AQ==", 0.0, 0.1]')
UPDATE t SET j = JSON_SET(j, '$.b', 2) WHERE id = 1;
-- => UPDATE t (id=1, j=JSON '{"a": [true, null, 1.0, 1e100, "é\n\u0001\""], "b": 1, "aa": {}}') -> (id=1, j=JSON '{"a": [true, null, 1.0, 1e100, "é\n\u0001\""], "b": 2, "aa": {}}')
INSERT INTO t VALUES (8, JSON_OBJECT('k', REPEAT('x', 70000)));
-- => INSERT t (id=8, j=JSON '{"k": "xxxxxxxxxxxxx…'[70009, 6f22d57a])
SET binlog_row_value_options = 'PARTIAL_JSON';
UPDATE t SET j = JSON_SET(j, '$.b', 'two', '$.new', JSON_ARRAY(1)) WHERE id = 1;
-- => UPDATE t (id=1, j=JSON '{"a": [true, null, 1.0, 1e100, "é\n\u0001\""], "b": 2, "aa": {}}') -> (id=1, j=JSON '{"a": [true, null, 1.0, 1e100, "é\n\u0001\""], "b": "two", "aa": {}, "new": [1]}')
UPDATE t SET j = JSON_REMOVE(j, '$.a[0]') WHERE id = 1;
-- => UPDATE t (id=1, j=JSON '{"a": [true, null, 1.0, 1e100, "é\n\u0001\""], "b": "two", "aa": {}, "new": [1]}') -> (id=1, j=JSON '{"a": [null, 1.0, 1e100, "é\n\u0001\""], "b": "two", "aa": {}, "new": [1]}')
UPDATE t SET j = JSON_REPLACE(j, '$.k', 'y') WHERE id = 8;
-- => UPDATE t (id=8, j=JSON '{"k": "xxxxxxxxxxxxx…'[70009, 6f22d57a]) -> (id=8, j=JSON '{"k": "y"}')
UPDATE t SET j = JSON_SET(j, '$.z', id), id = id + 100 WHERE id IN (1, 8) ORDER BY id;
-- => UPDATE t (id=1, j=JSON '{"a": [null, 1.0, 1e100, "é\n\u0001\""], "b": "two", "aa": {}, "new": [1]}') -> (id=101, j=JSON '{"a": [null, 1.0, 1e100, "é\n\u0001\""], "b": "two", "z": 1, "aa": {}, "new": [1]}')
-- => UPDATE t (id=8, j=JSON '{"k": "y"}') -> (id=108, j=JSON '{"k": "y", "z": 8}')
