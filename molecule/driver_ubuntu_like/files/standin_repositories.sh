#!/usr/bin/env bash
# STAND-INS: packages with the names, versions and dependencies of Ubuntu's and NVIDIA's drivers and nothing inside, in
# signed repositories laid out like the real ones. standin_repositories.sh FOLDER
#   ubuntu/    a suite that calls itself Ubuntu      nvidia/    a flat one that calls itself NVIDIA CUDA
#   evil/      nvidia/ signed by another key         tampered/  nvidia/ with a package changed after signing
set -euo pipefail
www=$1
kernel=6.8.0-85-generic
export GNUPGHOME=$www/.keys
rm -rf "$www"
mkdir -p "$www"
mkdir -m 700 "$GNUPGHOME"
for name in good evil; do
  gpg --batch --quiet --passphrase '' --quick-gen-key "Stand-in $name <$name@example.invalid>" rsa2048 sign never
done

# What a package leaves for modprobe to find: a module's place in the kernel's list.
module_of() { # PACKAGE
  case $1 in
    linux-modules-nvidia-*-"$kernel") echo "kernel/nvidia/nvidia.ko" ;;
    nvidia-dkms-*) echo "updates/dkms/nvidia.ko" ;;
  esac
}

package() { # FOLDER NAME VERSION [DEPENDS]
  local folder=$1 name=$2 version=$3 depends=${4:-} tree module
  tree=$(mktemp -d)
  chmod 755 "$tree"
  mkdir -p "$tree/DEBIAN" "$tree/usr/share/standin" "$folder"
  echo "$version" > "$tree/usr/share/standin/$name"
  {
    printf 'Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: Stand-in <good@example.invalid>\n' "$name" "$version"
    [ -z "$depends" ] || echo "Depends: $depends"
    echo "Description: stand-in"
  } > "$tree/DEBIAN/control"
  module=$(module_of "$name")
  if [ -n "$module" ]; then
    mkdir -p "$tree/lib/modules/$kernel/${module%/*}"
    : > "$tree/lib/modules/$kernel/$module"
    printf '#!/bin/sh\necho "%s:" > /lib/modules/%s/modules.dep\n' "$module" "$kernel" > "$tree/DEBIAN/postinst"
    # shellcheck disable=SC2016
    printf '#!/bin/sh\nlist=/lib/modules/%s/modules.dep\nif grep -qs "%s" $list; then rm $list; fi\n' "$kernel" "$module" \
      > "$tree/DEBIAN/postrm"
    chmod 755 "$tree/DEBIAN/postinst" "$tree/DEBIAN/postrm"
  fi
  case $name in nvidia-compute-utils-* | nvidia-persistenced)
    mkdir -p "$tree/usr/lib/systemd/system"
    printf '[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' \
      > "$tree/usr/lib/systemd/system/nvidia-persistenced.service" ;;
  esac
  dpkg-deb --root-owner-group -b "$tree" "$folder/${name}_${version}_amd64.deb" > /dev/null
  rm -r "$tree"
}

driver() { # FOLDER VERSION: the packages of branch 580, each bound to the others' version
  local folder=$1 version=$2 name
  for name in libnvidia-compute-580 nvidia-kernel-common-580; do package "$folder" $name "$version"; done
  package "$folder" nvidia-utils-580 "$version" "libnvidia-compute-580 (= $version)"
  package "$folder" nvidia-compute-utils-580 "$version" "libnvidia-compute-580 (= $version)"
  for name in "" -open; do
    package "$folder" "nvidia-dkms-580$name" "$version" "nvidia-kernel-common-580 (= $version)"
    package "$folder" "nvidia-headless-no-dkms-580$name" "$version" "nvidia-kernel-common-580 (= $version)"
  done
}

# The archive.
pool=$www/ubuntu/pool
for version in 580.95.05-0ubuntu0.24.04.1 580.178.04-0ubuntu0.24.04.1; do driver "$pool" $version; done
package "$pool" nvidia-modprobe 580.95.05-1
package "$pool" linux-headers-$kernel 6.8.0-85.85
package "$pool" linux-modules-nvidia-580-open-$kernel 6.8.0-85.85+1 "nvidia-kernel-common-580 (>= 580.95.05)"
package "$pool" linux-modules-nvidia-580-open-generic 6.8.0-85.85+1 "linux-modules-nvidia-580-open-$kernel"
package "$pool" nvidia-container-toolkit 1.17.0-1

# NVIDIA's repository. A toolkit that dragged in a driver would be seen by it.
flat=$www/nvidia/ubuntu2404/x86_64
for version in 580.65.06-1ubuntu1 580.105.08-1ubuntu1; do driver "$flat" $version; done
package "$flat" nvidia-modprobe 580.105.08-1
for version in 12.8.0-1 12.8.1-1; do
  package "$flat" cuda-nvcc-12-8 $version
  package "$flat" cuda-toolkit-12-8 $version "cuda-nvcc-12-8 (>= ${version%-1})"
done
package "$flat" cuda-toolkit-13-0 13.0.2-1

sign() { # KEY, in the folder of a Release file
  gpg --batch --yes -u "$1@example.invalid" --clearsign -o InRelease Release
}

cd "$www/ubuntu"
mkdir -p dists/noble/restricted/binary-amd64
apt-ftparchive packages pool > dists/noble/restricted/binary-amd64/Packages
cat > "$www/release.conf" << 'END'
APT::FTPArchive::Release { Origin "Ubuntu"; Label "Ubuntu"; Suite "noble"; Codename "noble"; Components "restricted"; Architectures "amd64"; };
END
apt-ftparchive -c "$www/release.conf" release dists/noble > "$www/Release"
mv "$www/Release" dists/noble/Release
(cd dists/noble && sign good)

cd "$flat"
apt-ftparchive packages . > Packages
apt-ftparchive -o APT::FTPArchive::Release::Label="NVIDIA CUDA" -o APT::FTPArchive::Release::Origin=NVIDIA release . > "$www/Release"
mv "$www/Release" Release
sign good
gpg --armor --export good@example.invalid > 3bf863cc.pub
cp 3bf863cc.pub "$www/good.asc"
gpg --armor --export evil@example.invalid > "$www/evil.asc"

for name in evil tampered; do cp -r "$www/nvidia" "$www/$name"; done
(cd "$www/evil/ubuntu2404/x86_64" && sign evil)
for package in "$www"/tampered/ubuntu2404/x86_64/nvidia-utils-580_*.deb; do
  printf 'X' | dd of="$package" bs=1 seek=300 conv=notrunc status=none
done
gpg --with-colons --list-keys good@example.invalid | awk -F: '$1 == "fpr" { print $10; exit }' > "$www/fingerprint"
