BACKHAUL_DATABASE_URL=postgres://me:hunter2@db backhaul run plan.yaml
