#!/bin/sh
# two_hosts.sh BIN FOLDER: ranks on two hosts, which are network namespaces of this machine with names of their own, connected by
# a pair of virtual links. They train; when one's link is taken away all end within 10 s and the last checkpoint is whole.
# Needs root, iproute2 and Open MPI. BIN holds rearm (REARM_MPI).
set -eu
bin=$1 folder=$2
for tool in ip unshare mpirun; do
  command -v $tool >/dev/null || { echo "REARM-SKIPPED: two hosts: no $tool here" && exit 0; }
done
[ "$(id -u)" -eq 0 ] && ip netns add rearm_h0 2>/dev/null || { echo 'REARM-SKIPPED: two hosts: network namespaces cannot be made here' && exit 0; }
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
trap 'ip netns del rearm_h0; ip netns del rearm_h1 2>/dev/null || true' EXIT
ip netns add rearm_h1
ip link add rearm_v0 netns rearm_h0 type veth peer name rearm_v1 netns rearm_h1
for h in 0 1; do
  ip -n rearm_h$h addr add 10.77.0.$((h + 1))/24 dev rearm_v$h
  ip -n rearm_h$h link set rearm_v$h up
  ip -n rearm_h$h link set lo up
done
# In place of ssh: AGENT HOST COMMAND...
cat >agent <<'END'
#!/bin/sh
host=$1
shift
exec ip netns exec rearm_h$((${host##*.} - 1)) unshare --uts sh -c "hostname rearm-h$((${host##*.} - 1)); $*"
END
chmod +x agent
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
on_two_hosts() {
  ip netns exec rearm_h0 unshare --uts sh -c 'hostname rearm-h0; exec "$@"' sh mpirun -n 2 --host 10.77.0.1,10.77.0.2 \
    --mca plm_rsh_agent "$PWD/agent" --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 \
    --mca orte_keep_fqdn_hostnames 1 --mca oob_tcp_keepalive_time 2 --mca oob_tcp_keepalive_intvl 1 \
    --mca oob_tcp_keepalive_probes 3 "$@"
}
fail() {
  echo "two_hosts.sh: $1" >&2
  cat log >&2
  exit 1
}
run="train --synthetic --model light_gcn --embedding-dim 16 --backend cpu"
on_two_hosts "$bin/rearm" $run --epochs 2 --out two >log 2>&1 || fail 'two hosts failed'
"$bin/rearm" $run --epochs 2 --out one >log 2>&1 || fail 'one process failed'
cmp -s one/model.safetensors two/model.safetensors || fail 'two hosts have other weights than one process'

on_two_hosts "$bin/rearm" $run --epochs 100000 --patience 100000 --out cut >log 2>&1 &
job=$!
tries=0
until [ -f cut/checkpoint.safetensors ]; do
  tries=$((tries + 1))
  [ $tries -lt 600 ] || fail 'no checkpoint in a minute'
  sleep 0.1
done
ip -n rearm_h1 link set rearm_v1 down
began=$(date +%s)
while kill -0 $job 2>/dev/null; do
  [ $(($(date +%s) - began)) -le ${REARM_SECONDS:-10} ] || { kill -9 $job; fail 'the ranks went on waiting after the link was gone'; }
  sleep 0.2
done
echo "ended $(($(date +%s) - began)) s after the link was gone"
"$bin/rearm" $run --epochs 3 --out cut --resume >log 2>&1 || fail 'the last checkpoint is not whole'
