XDG_STATE_HOME=state backhaul -q run plan.yaml
ls home/.local/state/backhaul
