backhaul status --database "sqlite:$(printf "\\033[2Jx")" plan.yaml
