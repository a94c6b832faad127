backhaul -q run plan.yaml
printf 'SQLite format 3\0' > other.db
backhaul run --database sqlite:other.db plan.yaml
