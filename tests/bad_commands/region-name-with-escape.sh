backhaul compare --from here --to "$(printf "\\033[2Jx")" plan.yaml
