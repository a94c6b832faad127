backhaul check "$(printf "pl\\377n.yaml")"
