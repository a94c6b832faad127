backhaul run --password hunter2 plan.yaml
