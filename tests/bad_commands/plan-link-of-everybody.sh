chmod 602 plan.yaml
mv plan.yaml home/plan.yaml
ln -s home/plan.yaml plan.yaml
rm region-here/orders-full.xbstream.gz
backhaul run plan.yaml
