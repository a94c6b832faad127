backhaul run --database mysql://me:hun/ter2@db/x plan.yaml
