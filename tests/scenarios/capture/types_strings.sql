-- Strings, bytes and labels: padding, charsets, lengths, what is no text.
-- show: cells numbers

CREATE TABLE t (a CHAR(5) CHARACTER SET utf8mb4, b VARCHAR(300) CHARACTER SET latin1, c TINYTEXT CHARACTER SET gbk, d TEXT CHARACTER SET ucs2, e MEDIUMTEXT CHARACTER SET utf8mb4, f LONGTEXT CHARACTER SET utf8mb4, g CHAR(0));
-- => DDL CREATE TABLE t (a CHAR(5) CHARACTER SET utf8mb4, b VARCHAR(300) CHARACTER SET latin1, c TINYTEXT CHARACTER SET gbk, d TEXT CHARACTER SET ucs2, e MEDIUMTEXT CHARACTER SET utf8mb4, f LONGTEXT CHARACTER SET utf8mb4, g CHAR(0))
INSERT INTO t VALUES ('ab ', 'Größe ', '订单', '茶', '🚚', '', ''), ('', '', '', '', NULL, NULL, NULL);
-- => INSERT t (a#254=Character 'ab', b#253=Character _latin1'Größe ', c#15=Character _gbk'订单', d#15=Character _ucs2'茶', e#15=Character '🚚', f#15=Character '', g#254=Character '')
-- => INSERT t (a#254=Character '', b#253=Character _latin1'', c#15=Character _gbk'', d#15=Character _ucs2'', e#15=NULL, f#15=NULL, g#254=NULL)
INSERT INTO t (b, d, f) VALUES (REPEAT('é', 300), REPEAT('x', 400), REPEAT('🚚', 20000));
-- => INSERT t (a#254=NULL, b#253=Character _latin1'éééééééééééééééééééé…'[300, 1000c75c], c#15=NULL, d#15=Character _ucs2'xxxxxxxxxxxxxxxxxxxx…'[400, 6ecb3f72], e#15=NULL, f#15=Character '🚚🚚🚚🚚🚚🚚🚚🚚🚚🚚🚚🚚🚚🚚🚚🚚🚚🚚🚚🚚…'[20000, cb44e87f], g#254=NULL)
INSERT INTO t (a, b, c) VALUES (_utf8mb4 x'00', _latin1 x'8081', _gbk x'8140'), ('\\\'"', 'a\nb', '%_');
-- => INSERT t (a#254=Character '\u0000', b#253=Character _latin1x'8081', c#15=Character _gbk'丂', d#15=NULL, e#15=NULL, f#15=NULL, g#254=NULL)
-- => INSERT t (a#254=Character '\'"', b#253=Character _latin1'a\u000ab', c#15=Character _gbk'%_', d#15=NULL, e#15=NULL, f#15=NULL, g#254=NULL)

CREATE TABLE b (a BINARY(4), b VARBINARY(300), c TINYBLOB, d BLOB, e MEDIUMBLOB, f LONGBLOB, g BINARY(255), h CHAR(3) CHARACTER SET binary);
-- => DDL CREATE TABLE b (a BINARY(4), b VARBINARY(300), c TINYBLOB, d BLOB, e MEDIUMBLOB, f LONGBLOB, g BINARY(255), h CHAR(3) CHARACTER SET binary)
INSERT INTO b (a, b, c, d, e, f, h) VALUES ('a', x'6100', x'00ff', '', x'20', REPEAT(x'00', 70000), 'x');
-- => INSERT b (a#252=BinaryObject BINARY x'61000000', b#252=BinaryObject BINARY x'6100', c#249=BinaryObject BLOB x'00ff', d#252=BinaryObject BLOB x'', e#250=BinaryObject BLOB x'20', f#251=BinaryObject BLOB x'00000000000000000000…'[70000, d2349501], g#252=NULL, h#252=BinaryObject BINARY x'780000')
INSERT INTO b (a, b, g) VALUES (x'61000000', REPEAT('b', 300), x'0102');
-- => INSERT b (a#252=BinaryObject BINARY x'61000000', b#252=BinaryObject BINARY x'62626262626262626262…'[300, be7ff4c9], c#249=NULL, d#252=NULL, e#250=NULL, f#251=NULL, g#252=BinaryObject BINARY x'01020000000000000000…'[255, 7cb7395b], h#252=NULL)

CREATE TABLE l (a ENUM('x', 'y', 'ü', ''), b SET('a', 'b', 'c d'), c ENUM('é') CHARACTER SET latin1);
-- => DDL CREATE TABLE l (a ENUM('x', 'y', 'ü', ''), b SET('a', 'b', 'c d'), c ENUM('é') CHARACTER SET latin1)
INSERT INTO l VALUES ('x', '', 'é'), ('ü', 'a,c d', NULL), ('', 'b', 'é');
-- => INSERT l (a#247=TextObject ENUM 'x', b#248=TextObject SET '', c#247=TextObject ENUM 'é')
-- => INSERT l (a#247=TextObject ENUM 'ü', b#248=TextObject SET 'a,c d', c#247=NULL)
-- => INSERT l (a#247=TextObject ENUM '', b#248=TextObject SET 'b', c#247=TextObject ENUM 'é')
SET sql_mode = '';
INSERT INTO l VALUES ('missing', 'b,missing', 'é');
-- => INSERT l (a#247=TextObject ENUM '', b#248=TextObject SET 'b', c#247=TextObject ENUM 'é')
