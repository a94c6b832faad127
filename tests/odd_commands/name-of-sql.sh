mv region-here/orders-full.xbstream.gz "region-here/'; DROP TABLE backups;-- %_"
sed "s/orders-full.xbstream.gz/\"'; DROP TABLE backups;-- %_\"/" plan.yaml > sql.yaml
backhaul -q run sql.yaml
backhaul -q run sql.yaml
ls region-there
