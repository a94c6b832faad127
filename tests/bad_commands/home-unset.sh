unset HOME
backhaul run plan.yaml
