backhaul check "$(printf "\\033[31mred\\033[0m\\nerror: all is well.yaml")"
