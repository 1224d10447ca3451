-- Every way to a charset: server, database, table, column; and statements in another charset than their columns.

CREATE TABLE t (a VARCHAR(9), b VARCHAR(9) CHARACTER SET big5, c VARCHAR(9) COLLATE latin2_czech_cs, d CHAR(9) CHARACTER SET sjis, e VARCHAR(9) CHARACTER SET utf8) DEFAULT CHARACTER SET koi8r;
-- => DDL CREATE TABLE t (a VARCHAR(9), b VARCHAR(9) CHARACTER SET big5, c VARCHAR(9) COLLATE latin2_czech_cs, d CHAR(9) CHARACTER SET sjis, e VARCHAR(9) CHARACTER SET utf8) DEFAULT CHARACTER SET koi8r
INSERT INTO t VALUES ('ж', '茶', 'č', '茶', '茶');
-- mysql97 mariadb1011 mariadb118 => INSERT t (a=_koi8r'ж', b=_big5'茶', c=_latin2'č', d=_sjis'茶', e=_utf8mb3'茶')
-- !mysql97 !mariadb1011 !mariadb118 => INSERT t (a=_koi8r'ж', b=_big5'茶', c=_latin2'č', d=_sjis'茶', e=_utf8'茶')
SET NAMES gbk;
INSERT INTO t (a) VALUES ('abc');
-- => INSERT t (a=_koi8r'abc', b=NULL, c=NULL, d=NULL, e=NULL)
SET NAMES utf8mb4;
ALTER DATABASE scenario CHARACTER SET hebrew;
-- => DDL ALTER DATABASE scenario CHARACTER SET hebrew
CREATE TABLE u (a VARCHAR(3), b ENUM('ש'), c TEXT CHARACTER SET utf16, d TEXT CHARACTER SET utf32, e CHAR(3) CHARACTER SET cp1251);
-- => DDL CREATE TABLE u (a VARCHAR(3), b ENUM('ש'), c TEXT CHARACTER SET utf16, d TEXT CHARACTER SET utf32, e CHAR(3) CHARACTER SET cp1251)
INSERT INTO u VALUES ('ש', 'ש', '🚚a', '🚚b', 'ж');
-- => INSERT u (a=_hebrew'ש', b=ENUM 'ש', c=_utf16'🚚a', d=_utf32'🚚b', e=_cp1251'ж')
ALTER TABLE u MODIFY a VARCHAR(3) CHARACTER SET utf8mb4;
-- => DDL ALTER TABLE u MODIFY a VARCHAR(3) CHARACTER SET utf8mb4
DELETE FROM u;
-- => DELETE u (a='ש', b=ENUM 'ש', c=_utf16'🚚a', d=_utf32'🚚b', e=_cp1251'ж')
