-- Types of MariaDB's own.
-- for: mariadb1011 mariadb118

CREATE TABLE t (id INT PRIMARY KEY, u UUID, i INET6, f INET4, c VARCHAR(100) COMPRESSED CHARACTER SET utf8mb4, b BLOB COMPRESSED, j JSON);
-- => DDL CREATE TABLE t (id INT PRIMARY KEY, u UUID, i INET6, f INET4, c VARCHAR(100) COMPRESSED CHARACTER SET utf8mb4, b BLOB COMPRESSED, j JSON)
INSERT INTO t VALUES (1, '123e4567-e89b-12d3-a456-426655440000', '2001:db8::ff00:42:8329', '192.0.2.1', REPEAT('茶', 60), x'00ff', '{"a":1}');
-- => INSERT t (id=1, u=BINARY x'123e4567e89b12d3a456426655440000', i=BINARY x'20010db8000000000000ff0000428329', f=BINARY x'c0000201', c='茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶', b=BLOB x'00ff', j='{"a":1}')
INSERT INTO t VALUES (2, 'ffffffff-ffff-ffff-ffff-fffffffffffe', '::', '0.0.0.0', '', '', NULL), (3, NULL, '::ffff:192.0.2.1', NULL, NULL, NULL, '[ 1,2 ]');
-- => INSERT t (id=2, u=BINARY x'fffffffffffffffffffffffffffffffe', i=BINARY x'00000000000000000000000000000000', f=BINARY x'00000000', c='', b=BLOB x'', j=NULL)
-- => INSERT t (id=3, u=NULL, i=BINARY x'00000000000000000000ffffc0000201', f=NULL, c=NULL, b=NULL, j='[ 1,2 ]')
