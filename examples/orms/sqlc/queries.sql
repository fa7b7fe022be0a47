-- name: InsertOrder :exec
INSERT INTO orders (number, item) VALUES ($1, $2);
