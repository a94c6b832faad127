BACKHAUL_DATABASE_URL="mysql://me:hunter2@db/x?ssl=true" backhaul run plan.yaml
