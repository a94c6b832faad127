backhaul compare --from here --to nowhere plan.yaml
