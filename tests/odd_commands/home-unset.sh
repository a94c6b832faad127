unset HOME
XDG_STATE_HOME=$PWD/state backhaul -q run plan.yaml
ls state/backhaul
