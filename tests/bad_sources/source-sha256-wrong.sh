wants '{ location: orders-full.xbstream.gz, from: here, to: [there], sha256: 0000000000000000000000000000000000000000000000000000000000000000 }'
backhaul -q run plan.yaml
