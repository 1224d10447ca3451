-- The small shop that `binwire demo` replays. `python -m tests.tools.record_demo` runs it on a real MySQL and keeps the
-- binlog, again and again: hence its last statement. One statement a line; `-- +N` waits for N seconds.
CREATE DATABASE shop DEFAULT CHARACTER SET utf8mb4
USE shop
CREATE TABLE customers (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, name VARCHAR(40) NOT NULL, city VARCHAR(40), level TINYINT NOT NULL DEFAULT 0, balance DECIMAL(12,2) NOT NULL DEFAULT 0, note TEXT, created_at DATETIME(3) NOT NULL, PRIMARY KEY (id), UNIQUE KEY uk_name (name))
CREATE TABLE products (id INT NOT NULL, name VARCHAR(60) NOT NULL, price DECIMAL(10,2) NOT NULL, stock INT NOT NULL, on_sale TINYINT(1) NOT NULL DEFAULT 1, PRIMARY KEY (id))
CREATE TABLE suppliers (id INT NOT NULL, name VARCHAR(40) NOT NULL, contact VARCHAR(40), PRIMARY KEY (id)) DEFAULT CHARACTER SET gbk
CREATE TABLE orders (id BIGINT NOT NULL, customer_id BIGINT UNSIGNED NOT NULL, status VARCHAR(16) NOT NULL, amount DECIMAL(12,2) NOT NULL, placed_at DATETIME NOT NULL, paid_at TIMESTAMP NULL DEFAULT NULL, PRIMARY KEY (id))
CREATE TABLE order_items (order_id BIGINT NOT NULL, line INT NOT NULL, product_id INT NOT NULL, quantity INT NOT NULL, price DECIMAL(10,2) NOT NULL, PRIMARY KEY (order_id, line))
INSERT INTO products VALUES (1,'龙井茶 250g',168.00,40,1),(2,'青花瓷杯',59.90,120,1),(3,'Bluetooth speaker',249.00,15,1)
-- +1
INSERT INTO suppliers VALUES (1,'杭州茶叶公司','王先生'),(2,'景德镇瓷厂',NULL)
-- +1
INSERT INTO customers (name,city,level,balance,note,created_at) VALUES ('张伟','杭州',1,500.00,NULL,NOW(3))
-- +1
INSERT INTO customers (name,city,level,balance,note,created_at) VALUES ('李娜','上海',2,1280.50,'喜欢绿茶',NOW(3))
-- +1
BEGIN
INSERT INTO orders VALUES (1001,1,'placed',227.90,NOW(),NULL)
INSERT INTO order_items VALUES (1001,1,1,1,168.00),(1001,2,2,1,59.90)
UPDATE products SET stock = stock - 1 WHERE id IN (1,2)
COMMIT
-- +1
UPDATE orders SET status = 'paid', paid_at = NOW() WHERE id = 1001
-- +1
UPDATE customers SET balance = balance - 227.90 WHERE id = 1
-- +1
INSERT INTO customers (name,city,level,balance,note,created_at) VALUES ('Zoë Müller','Köln',0,75.25,'ruft lieber an ☎',NOW(3))
-- +1
UPDATE suppliers SET contact = '陈女士' WHERE id = 2
-- +1
BEGIN
INSERT INTO orders VALUES (1002,2,'placed',498.00,NOW(),NULL)
INSERT INTO order_items VALUES (1002,1,3,2,249.00)
UPDATE products SET stock = stock - 2 WHERE id = 3
COMMIT
-- +1
UPDATE orders SET status = 'paid', paid_at = NOW() WHERE id = 1002
-- +1
ALTER TABLE orders ADD COLUMN coupon VARCHAR(20) NULL AFTER amount
-- +1
BEGIN
INSERT INTO orders VALUES (1003,3,'placed',59.90,'WELCOME5',NOW(),NULL)
INSERT INTO order_items VALUES (1003,1,2,1,59.90)
UPDATE products SET stock = stock - 1 WHERE id = 2
COMMIT
-- +1
UPDATE orders SET amount = 54.90 WHERE id = 1003
-- +1
UPDATE orders SET status = 'shipped' WHERE id = 1001
-- +1
UPDATE products SET price = 229.00 WHERE id = 3
-- +1
INSERT INTO products VALUES (4,'手工竹扇',36.50,60,1)
-- +1
UPDATE customers SET level = level + 1, note = '老客户' WHERE id = 1
-- +1
BEGIN
INSERT INTO orders VALUES (1004,1,'placed',204.50,NULL,NOW(),NULL)
INSERT INTO order_items VALUES (1004,1,1,1,168.00),(1004,2,4,1,36.50)
UPDATE products SET stock = stock - 1 WHERE id IN (1,4)
COMMIT
-- +1
DELETE FROM order_items WHERE order_id = 1004 AND line = 2
-- +1
UPDATE orders SET amount = 168.00, status = 'paid', paid_at = NOW() WHERE id = 1004
-- +1
UPDATE products SET stock = stock + 1 WHERE id = 4
-- +1
INSERT INTO suppliers VALUES (3,'深圳电子有限公司','刘经理')
-- +1
CREATE TABLE reviews (id BIGINT NOT NULL, product_id INT NOT NULL, stars TINYINT UNSIGNED NOT NULL, body TEXT, written_at TIMESTAMP(6) NOT NULL, PRIMARY KEY (id), UNIQUE KEY uk_product_time (product_id, written_at))
-- +1
INSERT INTO reviews VALUES (1,1,5,'茶很香，物流很快！',NOW(6))
-- +1
INSERT INTO reviews VALUES (2,3,2,NULL,NOW(6))
-- +1
UPDATE reviews SET stars = 3, body = 'Sound is fine, the battery is not.' WHERE id = 2
-- +1
UPDATE orders SET status = 'delivered' WHERE id = 1001
-- +1
UPDATE orders SET status = 'shipped' WHERE id IN (1002,1004)
-- +1
INSERT INTO customers (name,city,level,balance,note,created_at) VALUES ('王芳','成都',0,0.00,NULL,NOW(3))
-- +1
UPDATE customers SET balance = balance + 300.00 WHERE name = '王芳'
-- +1
BEGIN
INSERT INTO orders VALUES (1005,4,'placed',119.80,'SPRING',NOW(),NULL)
INSERT INTO order_items VALUES (1005,1,2,2,59.90)
UPDATE products SET stock = stock - 2 WHERE id = 2
COMMIT
-- +1
UPDATE orders SET status = 'cancelled' WHERE id = 1005
-- +1
BEGIN
DELETE FROM order_items WHERE order_id = 1005
DELETE FROM orders WHERE id = 1005
UPDATE products SET stock = stock + 2 WHERE id = 2
COMMIT
-- +1
UPDATE products SET on_sale = 0 WHERE id = 3
-- +1
ALTER TABLE customers ADD COLUMN phone VARCHAR(20) NULL, ADD COLUMN points INT UNSIGNED NOT NULL DEFAULT 0
-- +1
UPDATE customers SET phone = '13800001111', points = 120 WHERE id = 1
-- +1
UPDATE customers SET phone = '+49 221 0000', points = 15 WHERE id = 3
-- +1
INSERT INTO customers (name,city,level,balance,note,created_at,phone,points) VALUES ('François','Montréal',0,9999999999.99,NULL,NOW(3),NULL,4294967295)
-- +1
UPDATE customers SET city = '苏州' WHERE id = 2
-- +1
DELETE FROM reviews WHERE id = 2
-- +1
INSERT INTO reviews VALUES (3,2,4,'杯子很漂亮 🍵',NOW(6))
-- +1
UPDATE orders SET status = 'delivered' WHERE id = 1002
-- +1
UPDATE products SET price = price * 0.9 WHERE price > 100
-- +1
BEGIN
INSERT INTO orders VALUES (1006,2,'placed',302.40,NULL,NOW(),NULL)
INSERT INTO order_items VALUES (1006,1,1,2,151.20)
UPDATE products SET stock = stock - 2 WHERE id = 1
COMMIT
-- +1
UPDATE orders SET status = 'paid', paid_at = NOW() WHERE id = 1006
-- +1
UPDATE suppliers SET name = '杭州西湖茶叶公司' WHERE id = 1
-- +1
DELETE FROM suppliers WHERE id = 3
-- +1
RENAME TABLE reviews TO product_reviews
-- +1
INSERT INTO product_reviews VALUES (4,4,5,'夏天必备',NOW(6))
-- +1
UPDATE product_reviews SET body = NULL WHERE id = 3
-- +1
UPDATE customers SET points = points + 302 WHERE id = 2
-- +1
UPDATE orders SET status = 'shipped' WHERE id = 1006
-- +1
UPDATE products SET stock = 100 WHERE id = 4
-- +1
INSERT INTO products VALUES (5,'丝绸围巾',320.00,8,1),(6,'USB-C cable',9.99,500,1)
-- +1
BEGIN
INSERT INTO orders VALUES (1007,3,'placed',329.99,NULL,NOW(),NULL)
INSERT INTO order_items VALUES (1007,1,5,1,320.00),(1007,2,6,1,9.99)
UPDATE products SET stock = stock - 1 WHERE id IN (5,6)
COMMIT
-- +1
UPDATE orders SET status = 'paid', paid_at = NOW() WHERE id = 1007
-- +1
UPDATE customers SET balance = balance - 329.99, level = level + 1 WHERE id = 3
-- +1
UPDATE orders SET status = 'delivered' WHERE id IN (1004,1006)
-- +1
DELETE FROM customers WHERE name = 'François'
-- +1
ALTER TABLE products MODIFY COLUMN name VARCHAR(120) NOT NULL
-- +1
UPDATE products SET name = 'USB-C cable, 1 m, braided' WHERE id = 6
-- +1
UPDATE orders SET status = 'shipped' WHERE id = 1007
-- +1
INSERT INTO product_reviews VALUES (5,5,5,'围巾手感很好，颜色也正。',NOW(6))
-- +1
UPDATE customers SET note = '喜欢绿茶和瓷器' WHERE id = 2
-- +1
UPDATE orders SET status = 'delivered' WHERE id = 1007
-- +3
DROP DATABASE shop
-- +1
