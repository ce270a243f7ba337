"""Muster's tables, as far as its lists show them."""

from django.db import models


class Cluster(models.Model):
    install_id = models.CharField(primary_key=True, max_length=32)
    cluster_id = models.CharField(max_length=20)
    name = models.CharField(max_length=50)
    address = models.CharField(max_length=255)
    host = models.CharField(max_length=255)
    version = models.CharField(max_length=50)
    interval_s = models.IntegerField()
    beat_at = models.DateTimeField(null=True)
    online_since = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    modified_at = models.DateTimeField(null=True)
    modified_by = models.CharField(max_length=50)

    class Meta:
        managed = False
        db_table = "cluster"

    def __str__(self):
        return self.name


class Menu(Cluster):
    """The clusters as the menu in the bar shows them."""

    class Meta:
        proxy = True


class Workspace(models.Model):
    workspace_id = models.CharField(primary_key=True, max_length=32)
    name = models.CharField(max_length=50)
    # Unique, so that Django orders by nothing else.
    name_key = models.CharField(max_length=150, unique=True)
    description = models.CharField(max_length=200)
    folder = models.CharField(max_length=50)
    cluster = models.ForeignKey(Cluster, models.SET_NULL, null=True, db_column="install_id")
    created_at = models.DateTimeField()
    modified_at = models.DateTimeField(null=True)
    modified_by = models.CharField(max_length=50)

    class Meta:
        managed = False
        db_table = "workspace"


class Group(models.Model):
    group_id = models.IntegerField(primary_key=True)
    name = models.CharField(max_length=50)
    name_key = models.CharField(max_length=150, unique=True)
    modified_at = models.DateTimeField(null=True)
    modified_by = models.CharField(max_length=50)
    clusters = models.ManyToManyField(Cluster, through="ClusterGroup")

    class Meta:
        managed = False
        db_table = "asset_group"

    def __str__(self):
        return self.name


class ClusterGroup(models.Model):
    # The key has two columns, and Django knows keys of one; no query here uses it.
    group = models.OneToOneField(Group, models.CASCADE, primary_key=True)
    cluster = models.ForeignKey(Cluster, models.CASCADE, db_column="install_id")
    position = models.IntegerField()

    class Meta:
        managed = False
        db_table = "cluster_group"


class Asset(models.Model):
    asset_id = models.IntegerField(primary_key=True)
    kind = models.CharField(max_length=10)
    name = models.CharField(max_length=50)
    name_key = models.CharField(max_length=150)
    address = models.CharField(max_length=255)
    group = models.ForeignKey(Group, models.PROTECT)
    state = models.CharField(max_length=10)
    modified_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "asset"


class AssetWatch(models.Model):
    asset = models.OneToOneField(Asset, models.CASCADE, primary_key=True, related_name="watch")
    checked_at = models.DateTimeField(null=True)
    latency_us = models.IntegerField(null=True)

    class Meta:
        managed = False
        db_table = "asset_watch"


class Audit(models.Model):
    audit_id = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor = models.CharField(max_length=50)
    role = models.CharField(max_length=20)
    address = models.CharField(max_length=45)
    # Null, so that lines of a cluster that is gone are shown as well.
    server = models.ForeignKey(Cluster, models.DO_NOTHING, null=True, db_column="install_id")
    action = models.CharField(max_length=50)
    object_kind = models.CharField(max_length=20)
    object_name = models.CharField(max_length=255)
    changes = models.CharField(max_length=4000)
    result = models.CharField(max_length=10)

    class Meta:
        managed = False
        db_table = "audit"
