record 1
sed -i 's|orders-full.xbstream.gz|../../etc/passwd|' region-here/.backhaul/records/*.ndjson
wants '{ id: 20000000-0000-4000-8000-000000000001, from: here, to: [there] }'
backhaul -q run plan.yaml
