BACKHAUL_DATABASE_URL="postgres://me:hunter2@db/x?sslmode=sure" backhaul run plan.yaml
