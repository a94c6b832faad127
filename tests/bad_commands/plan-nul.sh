printf 'version: 1\nname: a\0b\n' > plan.yaml
backhaul run plan.yaml
