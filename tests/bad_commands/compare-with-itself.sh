backhaul compare --from here --to here plan.yaml
