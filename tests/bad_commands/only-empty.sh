backhaul run --only id= plan.yaml
