# shellcheck shell=bash
# What scripts that try things on a bare machine share; sourced, from the checkout's root.

# Print the id of a new, booted, bare Debian 12 that trusts what this host trusts and has this checkout's last commit.
bare_machine() {
  local container
  container=$(docker run --detach --cap-add SYS_ADMIN --security-opt seccomp=unconfined --tmpfs /run --tmpfs /run/lock \
    --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:rw "$(tests/containers/image 12)")
  # The first answers may come before its bus does.
  for _ in $(seq 30); do
    docker exec "$container" systemctl is-system-running --wait > /dev/null 2>&1 && break
    sleep 1
  done
  # There may be a proxy with a certificate of its own between the machine and the index.
  docker cp /etc/ssl/certs/ca-certificates.crt "$container:/etc/ssl/lab-certificates.crt" > /dev/null
  docker exec "$container" sh -c 'printf "[global]\ncert = /etc/ssl/lab-certificates.crt\n" > /etc/pip.conf'
  git archive HEAD | docker exec -i "$container" sh -c 'mkdir -p /root/gpulab && tar -x -C /root/gpulab'
  docker exec "$container" sh -c 'apt-get -qq update && apt-get -qq install -y make > /dev/null' 2> /dev/null
  echo "$container"
}
